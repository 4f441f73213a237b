"""Every example runs, against the demo's shop where it talks to a device."""
