"""What a task, its rows and a worker give back, checked before anybody relies on it."""
