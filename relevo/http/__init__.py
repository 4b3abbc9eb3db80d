"""Everything that speaks HTTP: webhooks in, providers and the AI out. Owns aiohttp and openai."""
