"""What NIC and host share, as columns that compiled code walks."""
