"""What a daemon shows and takes over HTTP: schema, routes, server, events, metrics."""
