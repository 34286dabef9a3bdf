"""What other programs' files become: links, subscriptions, SIP008, Clash and ShadowVPN files as profiles."""
