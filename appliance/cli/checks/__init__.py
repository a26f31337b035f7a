"""What `appliance doctor` looks at: one module per subject, each yields findings and mends nothing."""
