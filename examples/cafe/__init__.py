"""What the demo is made of: a café as the server, a guest as the client, each a process of its own."""
