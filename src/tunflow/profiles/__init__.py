"""What a user saves: profiles as TOML files, their sections, where they are kept, and what is never shown of them."""
