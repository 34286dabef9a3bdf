"""Who may what: capabilities, unprivileged users, and files opened by whoever has the right to."""
