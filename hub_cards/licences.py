"""Licences in one table: what the Hub calls them, what they ask of what is made from their material. Pure Python."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

OTHER = "other"  # needs a name and a link beside it

# The ids that the Hub takes in the field `license`.
HUB_LICENCES = frozenset(
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m "
    "afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 "
    "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 "
    "gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl "
    "apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl "
    "lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 "
    "llama4 grok2-community gemma unknown other".split()
)
_SHARE_ALIKE = frozenset("agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 odbl osl-3.0 cdla-sharing-1.0".split())
_NON_COMMERCIAL = frozenset(
    "qwen-research h-research intel-research apple-amlr fair-noncommercial-research-license "
    "deepfloyd-if-license".split()
)
_PUBLIC_DOMAIN = frozenset("cc0-1.0 unlicense pddl wtfpl".split())
_PERMISSIVE = frozenset(
    "apache-2.0 mit bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear afl-3.0 artistic-2.0 bsl-1.0 isc ncsa "
    "postgresql zlib odc-by cdla-permissive-1.0 cdla-permissive-2.0 etalab-2.0 ms-pl".split()
)
_CREATIVE_COMMONS = re.compile(r"cc-by(?P<parts>(?:-(?:nc|nd|sa))*)-\d\.\d")


@dataclass(frozen=True)
class Licence:
    """A licence as a card's header names it: a Hub id, or `other` with its name and a link.

    Attributes:
        id (`str`): For the field `license`.
        name (`str`, *optional*): For `license_name`.
        link (`str`, *optional*): For `license_link`.
    """

    id: str
    name: str | None = None
    link: str | None = None

    @property
    def key(self) -> str:
        """What the tables of this module know it by."""
        return self.name or self.id


_APACHE = Licence("apache-2.0")
_QWEN_RESEARCH = "https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/blob/main/LICENSE"
BASE_LICENCES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": Licence(OTHER, "qwen-research", _QWEN_RESEARCH),
    "Qwen/Qwen2.5-VL-7B-Instruct": _APACHE,
    "Qwen/Qwen2.5-VL-32B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-2B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-4B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-8B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-32B-Instruct": _APACHE,
}


@dataclass(frozen=True)
class Terms:
    """What a licence asks of those who pass on something made from its material.

    Attributes:
        commercial (`bool`): Whether commercial use is allowed.
        share_alike (`bool`): Whether what is made from it must be under the same licence.
        derivatives (`bool`): Whether something made from it may be passed on at all.
        attribution (`bool`): Whether its authors must be named.
    """

    commercial: bool = True
    share_alike: bool = False
    derivatives: bool = True
    attribution: bool = True


def find_terms(licence: str) -> Terms:
    """The terms of a licence by its Hub id or, for `other`, its name; those of an unknown one ask for nothing special.

    >>> find_terms("cc-by-nc-sa-4.0")
    Terms(commercial=False, share_alike=True, derivatives=True, attribution=True)
    """
    if match := _CREATIVE_COMMONS.fullmatch(licence):
        parts = match["parts"].split("-")
        return Terms("nc" not in parts, "sa" in parts, "nd" not in parts)
    return Terms(
        commercial=licence not in _NON_COMMERCIAL,
        share_alike=licence in _SHARE_ALIKE,
        attribution=licence not in _PUBLIC_DOMAIN,
    )


def _has_known_terms(licence: str) -> bool:
    tables = (_PERMISSIVE, _PUBLIC_DOMAIN, _SHARE_ALIKE, _NON_COMMERCIAL)
    return _CREATIVE_COMMONS.fullmatch(licence) is not None or any(licence in table for table in tables)


def describe_terms(licences: Iterable[str]) -> list[str]:
    """Sentences on what follows from the licences of sources for those who use what was made from them.

    Args:
        licences (`Iterable[str]`): Hub ids, or names of licences that the Hub has no id for.
    """
    sentences = []
    for licence in dict.fromkeys(licences):
        terms = find_terms(licence)
        parts = [
            "no commercial use" if not terms.commercial else "",
            f"what is made from it stays under {licence}" if terms.share_alike else "",
            "nothing made from it may be passed on" if not terms.derivatives else "",
            "its authors must be named" if terms.attribution and licence.startswith("cc-") else "",
        ]
        if found := [part for part in parts if part]:
            sentences.append(f"{licence}: {', '.join(found)}.")
        elif licence in (OTHER, "unknown"):
            sentences.append("Terms of some sources are not known by an id: ask their owners before passing it on.")
    return sentences


def find_conflicts(licence: str, sources: Mapping[str, str]) -> list[str]:
    """What a licence does not keep of the licences of the material that something was made from.

    Args:
        licence (`str`): The chosen one: a Hub id, or for `other` its name.
        sources (`Mapping[str, str]`): For each source (a data set, a base model) its licence in the same form.

    Returns:
        `list[str]`: A line each with the remedy; nothing where all is kept.
    """
    own, lines = find_terms(licence), []
    for source, theirs in sources.items():
        terms = find_terms(theirs)
        if not terms.derivatives:
            lines.append(f"{source} is under {theirs}, which forbids passing on what is made from it")
        elif terms.share_alike and licence != theirs:
            lines.append(
                f"{source} is under {theirs}, which asks for the same licence, not {licence}: choose {theirs}"
            )
        elif not terms.commercial and own.commercial:
            lines.append(
                f"{source} is under {theirs}, which forbids commercial use, and {licence} allows it: choose {theirs}, "
                "or `other` with a licence that forbids it too"
            )
    return lines


def choose_licence(licences: Iterable[str]) -> Licence | None:
    """The one licence among those of several sources that keeps what all of them ask for.

    Args:
        licences (`Iterable[str]`): Hub ids, or names of licences that the Hub has no id for.

    Returns:
        `Licence`, or `None` if no licence of them does, or the terms of one beside others are in no table here.

    >>> choose_licence(["apache-2.0", "cc-by-nc-sa-4.0"])
    Licence(id='cc-by-nc-sa-4.0', name=None, link=None)
    """
    distinct = list(dict.fromkeys(licences))
    if len(distinct) > 1 and not all(map(_has_known_terms, distinct)):
        return None
    sources = {one: one for one in distinct}
    kept = next((one for one in distinct if not find_conflicts(one, sources)), None)
    if kept is None:
        return None
    if kept in HUB_LICENCES:
        return Licence(kept)
    return next((one for one in BASE_LICENCES.values() if one.key == kept), None)
