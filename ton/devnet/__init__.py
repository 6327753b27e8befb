"""The embedded chain: the real TVM behind toncenter's HTTP API, for one machine."""
