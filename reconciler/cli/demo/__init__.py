"""`demo`: the whole product on this host, without a key, a cluster or a network.

stage        a simulated platform, a scripted model and a controller, in one process and one temporary directory
story        what every story has
quickstart   the first one: work, a change of mind, sleep, memory
survive      the second: everything is taken away under the agent
outage       a platform without room for machines
tree         a hierarchy of machines over a day
telling      how it is shown: live on a terminal, lines when piped, JSON
command      the command
"""
