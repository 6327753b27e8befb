"""What attackers are armed with: forged requests, a lying worker, a false gateway, a relay."""
