"""Netlink, once: `messages` is the codec, `socket` sends and receives; each other file asks or sets one thing."""
