"""The NIC, compiled: the fast twin of device/nic.py."""
