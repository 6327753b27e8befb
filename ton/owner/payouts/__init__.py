"""What gateways pay an owner: looked at on the chain, compared, claimed (SPEC 8.6)."""
