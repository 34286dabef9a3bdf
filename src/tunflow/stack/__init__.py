"""The user-space TCP/IP stack: packets in, flows and packets out; pure (see tunflow.machine)."""
