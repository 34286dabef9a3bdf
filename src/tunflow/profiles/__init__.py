"""What a user saves: profiles as TOML files, their sections, where they are kept, and what is never shown of them."""

import datetime  # noqa: F401 - pydantic's core imports it, and panics where Ctrl-C comes meanwhile
