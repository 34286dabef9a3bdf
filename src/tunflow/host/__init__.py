"""The only place with operating-system state: devices, namespaces, processes."""
