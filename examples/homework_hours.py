"""No games while there is homework to do; what runs when the hour strikes ends. Names need [dns] mode = "fake".

[filter]
provider = "examples/homework_hours.py:HomeworkHours"
configuration = {from = 15, to = 18, words = ["game", "play"]}
"""

import asyncio
import datetime

from tunflow import FilterDataProvider, NewFlowVerdict


class HomeworkHours(FilterDataProvider):
    """Refuses hosts with one of the words in their names, from one hour until another."""

    async def start_filter(self):
        self.rules = self.filter_configuration.vendor_configuration
        self.create_task(self.watch_the_clock())

    def is_homework_time(self):
        return self.rules["from"] <= datetime.datetime.now().hour < self.rules["to"]

    def handle_new_flow(self, flow):
        host = flow.remote_hostname or ""
        if self.is_homework_time() and any(word in host for word in self.rules["words"]):
            return NewFlowVerdict.drop()
        return NewFlowVerdict.allow()

    async def watch_the_clock(self):
        was = self.is_homework_time()
        while True:
            await asyncio.sleep(10)
            if self.is_homework_time() is not was:
                was = not was
                self.rules_changed()
