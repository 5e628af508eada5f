"""The NIC: flow rules, in-line engine, record tracker, LRO. Never drops, delays, reorders or half-marks a packet."""
