"""Where everything meets: the pure core, the runtime that carries out its effects, the API."""
