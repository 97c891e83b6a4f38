"""What several tests share: applications that they serve, servers that they start, and requests."""
