"""The groups of a queue: which of their tasks have a place, and which are held.

Strategy: a task gets a place in its group when it is added, and keeps it until it has ended or is buried.
While all places are taken, further tasks are held. A free place goes to the task with the lowest number, but
only when the caller requests it, with L{Groups.admit}: the end of the previous task must be stored first.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush


class Group:
    """
    The tasks of one group, by their numbers.

    @ivar places: the tasks that have a place.
    @ivar held: the tasks that wait for a place.
    """

    __slots__ = "_line", "held", "places"

    def __init__(self) -> None:
        self.places, self.held = set[int](), set[int]()
        self._line: list[int] = []  # a heap; may contain tasks that are not held any more

    @property
    def first(self) -> int:
        """The held task with the lowest number. There must be one."""
        while self._line[0] not in self.held:
            heappop(self._line)
        return self._line[0]

    def hold(self, number: int) -> None:
        """Let a task wait for a place."""
        if number in self.held:
            return
        self.held.add(number)
        if len(self._line) > 100 + 2 * len(self.held):
            self._line = list(self.held)
            heapify(self._line)
        else:
            heappush(self._line, number)


class Groups:
    """
    The groups of a queue by name. A group without tasks takes no memory.

    @ivar vacant: groups in which a held task may get a place, see L{admit}.
    """

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self.vacant: set[str] = set()

    def __len__(self) -> int:
        return len(self._groups)

    def enter(self, name: str, number: int, at_once: int) -> bool:
        """
        Give a task a place, or hold it.

        @param at_once: how many places each group has.
        @return: whether it has a place.
        """
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group()
        if number in group.places:
            return True
        is_next = not group.held or number < group.first
        if len(group.places) < at_once and is_next:
            group.places.add(number)
            return True
        group.hold(number)
        return False

    def occupy(self, name: str, number: int) -> None:
        """Give a task a place, even if all places are taken."""
        self._groups.setdefault(name, Group()).places.add(number)

    def leave(self, name: str, number: int) -> None:
        """Remove a task that has ended or is buried."""
        group = self._groups.get(name)
        if group is None:
            return
        group.held.discard(number)
        group.places.discard(number)
        if not (group.held or group.places):
            del self._groups[name]
        elif group.held:
            self.vacant.add(name)

    def reconsider(self) -> None:
        """Record that the number of places has changed."""
        self.vacant.update(name for name, group in self._groups.items() if group.held)

    def take_vacant(self) -> set[str]:
        """Return L{vacant}, and empty it."""
        names, self.vacant = self.vacant, set()
        return names

    def admit(self, name: str, at_once: int) -> list[int]:
        """Give the free places of a group to the tasks that are held. Return the numbers of these tasks."""
        group, admitted = self._groups.get(name), list[int]()
        while group is not None and group.held and len(group.places) < at_once:
            number = group.first
            group.held.discard(number)
            group.places.add(number)
            admitted.append(number)
        return admitted
