"""How flows leave: dialers, chains of servers, the streams of tunflow's own, and which servers answer."""
