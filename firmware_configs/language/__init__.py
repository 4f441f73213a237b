"""The profile language, one subject a module; `firmware_configs.profile` has every name."""
