"""What DWARF says of an image: the source function of an instruction, and what tables point to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile

from microtvm.stack.memory import Memory

_AROUND = {"DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_typedef", "DW_TAG_array_type"}
_EXPRESSIONS = {"DW_FORM_exprloc", "DW_FORM_block", "DW_FORM_block1"}
_CODE = {"DW_TAG_subprogram", "DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"}


class Source:
    """The debugging information of one image; everything is empty where it has none."""

    def __init__(self, elf: Path, memory: Memory) -> None:
        self._memory = memory
        self._stream = elf.open("rb")
        file = ELFFile(self._stream)
        self._dwarf: DWARFInfo | None = file.get_dwarf_info() if file.has_dwarf_info() else None

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    @cached_property
    def _units(self) -> list[CompileUnit]:
        return [] if self._dwarf is None else list(self._dwarf.iter_CUs())

    def function(self, address: int) -> str:
        """The function in whose source the instruction was written, wherever it was inlined; ""
        where that is not known."""
        for unit in self._units:
            top = unit.get_top_DIE()
            if _covers(self._dwarf, top, address):
                found = self._innermost(top, address)
                if found:
                    return found
        return ""

    def _innermost(self, die: DIE, address: int) -> str:
        for child in die.iter_children():
            if child.tag not in _CODE:
                continue
            if child.tag != "DW_TAG_lexical_block" and not _covers(self._dwarf, child, address):
                continue
            deeper = self._innermost(child, address)
            if deeper:
                return deeper
            if child.tag != "DW_TAG_lexical_block":
                return _name(child)
        return ""

    def pointers(self, structure: str, member: str) -> tuple[set[int], bool]:
        """What the member of all constants of that type, and of arrays, points to; and whether
        it can't point to anything else: there are some, and no variables."""
        found, constants, variables = set(), 0, 0
        for variable, die in self._tables.get(structure, []):
            offset = _offset(die, member)
            if offset is None:
                continue
            size, count = int(die.attributes["DW_AT_byte_size"].value), 1
            array = _type(variable)
            while array is not None and array.tag != "DW_TAG_structure_type":
                if array.tag == "DW_TAG_array_type":
                    count *= _length(array)
                array = _type(array)
            address = _address(variable)
            if address == 0:  # the linker left it out
                continue
            block = None if address is None else self._memory.block(address)
            if address is None or block is None or block.writable:
                variables += 1
                continue
            constants += 1
            for index in range(count):
                value = self._memory.number(
                    address + index * size + offset, self._memory.word_bytes
                )
                if value:
                    found.add(self._memory.code_address(value))
        return found, constants > 0 and variables == 0

    @cached_property
    def _tables(self) -> dict[str, list[tuple[DIE, DIE]]]:
        """Variables that are structures or arrays of such, by the structure's name."""
        found: dict[str, list[tuple[DIE, DIE]]] = {}
        for unit in self._units:
            for die in _variables(unit):
                kind = _type(die)
                while kind is not None and kind.tag in _AROUND:
                    kind = _type(kind)
                if kind is not None and kind.tag == "DW_TAG_structure_type":
                    found.setdefault(_name(kind), []).append((die, kind))
        return found


def _address(variable: DIE) -> int | None:
    """Where a variable lies; None if it moves."""
    location = variable.attributes.get("DW_AT_location")
    if location is None or location.form not in _EXPRESSIONS:
        return None
    return _operand(variable, location.value, "DW_OP_addr")


def _operand(die: DIE, expression: Any, operation: str) -> int | None:
    """The operand of an expression that is that operation alone."""
    operations = DWARFExprParser(die.cu.structs).parse_expr(expression)
    if len(operations) == 1 and operations[0].op_name == operation:
        return int(operations[0].args[0])
    return None


def _variables(unit: CompileUnit) -> Iterator[DIE]:
    """Variables that have a place, those of functions too."""
    for die in unit.iter_DIEs():
        if die.tag == "DW_TAG_variable" and "DW_AT_location" in die.attributes:
            yield die


def _origin(die: DIE) -> DIE | None:
    for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if attribute in die.attributes:
            return die.get_DIE_from_attribute(attribute)
    return None


def _name(die: DIE) -> str:
    named: DIE | None = die
    while named is not None:
        if "DW_AT_name" in named.attributes:
            return str(named.attributes["DW_AT_name"].value.decode("utf-8", "replace"))
        named = _origin(named)
    return ""


def _type(die: DIE) -> DIE | None:
    typed: DIE | None = die
    while typed is not None:
        if "DW_AT_type" in typed.attributes:
            return typed.get_DIE_from_attribute("DW_AT_type")
        typed = _origin(typed)
    return None


def _offset(structure: DIE, member: str) -> int | None:
    for die in structure.iter_children():
        if die.tag == "DW_TAG_member" and _name(die) == member:
            place = die.attributes["DW_AT_data_member_location"]
            if place.form in _EXPRESSIONS:
                return _operand(die, place.value, "DW_OP_plus_uconst")
            return int(place.value)
    return None


def _length(array: DIE) -> int:
    result = 1
    for die in array.iter_children():
        if "DW_AT_upper_bound" in die.attributes:
            result *= int(die.attributes["DW_AT_upper_bound"].value) + 1
    return result


def _covers(dwarf: Any, die: DIE, address: int) -> bool:
    """Whether an address is one of the entry's."""
    low = die.attributes.get("DW_AT_low_pc")
    high = die.attributes.get("DW_AT_high_pc")
    if low is not None and high is not None:
        end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
        return bool(low.value <= address < end)
    if "DW_AT_ranges" not in die.attributes:
        return False
    ranges = dwarf.range_lists()
    listed = ranges.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, cu=die.cu)
    base = low.value if low is not None else 0
    if not low and "DW_AT_low_pc" in die.cu.get_top_DIE().attributes:
        base = die.cu.get_top_DIE().attributes["DW_AT_low_pc"].value
    for entry in listed:
        if hasattr(entry, "base_address"):
            base = entry.base_address
            continue
        start = 0 if getattr(entry, "is_absolute", False) else base
        if start + entry.begin_offset <= address < start + entry.end_offset:
            return True
    return False
