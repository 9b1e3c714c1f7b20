"""The systems that are measured; each one file, all behind the interface of `base`."""
