"""A simulator of the Vers platform, written from the platform's reference alone (vers-api.md): it knows nothing of our client.

    wire, records, knobs, faults, ledger   data: replies and errors, what exists, what may differ, what goes wrong, what happened
    world, vms, catalog                    the platform as a pure state machine: no I/O, time and identity injected
    routes, api                            HTTP requests as values in, outcomes as values out; drives under virtual time too
    limits                                 how much of everything one may have
    incoming, http11, server, execs, admin, page   the same over a real socket
    guests, isolated, image, rooted        what runs in a VM: nothing, a directory, or an isolated guest; paths of its disk
    gateway, certs, guestssh, guestsftp    TLS + SNI + SSH into a guest
    durable, service                       a data directory; start, stop, and the command line's entry

Use `service.Simulator` to run it, `api.Api` over `world.World` to drive it without I/O.
"""
