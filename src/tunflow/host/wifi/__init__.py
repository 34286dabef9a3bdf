"""Wi-Fi of this host: one interface, and who may manage it."""
