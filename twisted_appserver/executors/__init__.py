"""Where a call is performed: one interface, one small module per place.

The modules:
  - L{interface}: what every executor promises.
  - L{inline}: on the reactor, for coroutines and functions that return Deferreds.
  - L{threads}: in threads of the reactor's pool.
  - L{processes}: in spawned worker processes; L{worker} is what runs in them, L{frames} what they say over
    L{connection}, L{progress} how far they are; L{crew} keeps them at their number, and L{watchdog} ends
    them with the server. L{head_start} lets them import the application early, L{signals} undoes what
    functions have changed about signals.
  - L{cluster}: on the workers of Dask.
  - L{stream}: answers that come in parts, from any of these.
"""
