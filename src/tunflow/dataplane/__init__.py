"""What becomes of a device's packets: the driver's round, the decision about a flow, and the relays that carry it."""
