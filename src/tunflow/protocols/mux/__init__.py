"""Many flows in one stream of another protocol, as its server takes it: sing-mux's three protocols, and mux.cool."""
