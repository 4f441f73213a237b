"""The commands of `edge-agent`, one module a subject. What they need is imported when they run."""
