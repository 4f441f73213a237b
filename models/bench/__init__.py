"""Quality beside published results: one protocol a module, measured by one command."""
