"""Asks on the terminal about each new host (names need [dns] mode = "fake"); its flows wait until it is answered.

[filter]
provider = "examples/ask_first.py:AskFirst"
"""

import asyncio

from tunflow import FilterDataProvider, NewFlowVerdict


class AskFirst(FilterDataProvider):
    """Remembers the answers; one question at a time."""

    async def start_filter(self):
        self.terminal = self.filter_configuration.vendor_configuration.get("terminal", "/dev/tty")
        self.answers = {}
        self.one_at_a_time = asyncio.Lock()

    def handle_new_flow(self, flow):
        self.create_task(self.decide(flow, flow.remote_hostname or flow.remote_endpoint.host_text))
        return NewFlowVerdict.pause()

    async def decide(self, flow, host):
        async with self.one_at_a_time:
            if host not in self.answers:
                question = f"{flow.source_app_identifier or 'a program'} wants {host}. Let it? [y/n] "
                self.answers[host] = await asyncio.to_thread(self.ask, question)
        self.resume_flow(flow, NewFlowVerdict.allow() if self.answers[host] else NewFlowVerdict.drop())

    def ask(self, question):
        with open(self.terminal, "w") as out, open(self.terminal) as answers:
            print(question, end="", file=out, flush=True)
            return answers.readline().strip().lower() == "y"
