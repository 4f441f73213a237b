"""What `edge-agent doctor` looks at. It changes nothing, and works beside a running agent."""
