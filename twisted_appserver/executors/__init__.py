"""Where a call is performed: one interface, one small module per place.

The modules:
  - L{interface}: what every executor promises.
  - L{inline}: on the reactor, for coroutines and functions that return Deferreds.
  - L{threads}: in threads of the reactor's pool.
  - L{processes}: in spawned worker processes; L{worker} is what runs in them, L{frames} what they say,
    L{crew} keeps them at their number.
"""
