"""The driver: what device and host say to each other on its way, and where a receive tag is made."""
