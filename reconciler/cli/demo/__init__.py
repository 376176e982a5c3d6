"""`demo`: the whole product on this host, without a key, a cluster or a network.

stage        a simulated platform, a scripted model and a controller, in one process and one temporary directory
quickstart   the story that is told on it
telling      how it is shown: live on a terminal, lines when piped, JSON
command      the command
"""
