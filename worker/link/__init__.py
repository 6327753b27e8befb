"""The worker's end of its links: dial, shake hands, take requests, dial again (SPEC 10)."""
