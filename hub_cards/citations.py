"""BibTeX entries of the papers whose methods a model or data set uses, and of this package."""

from collections.abc import Iterable

from .run_facts import package_version, today

_FOURDTHINKER = """@article{chen2026fourdthinker,
  title   = {4DThinker: Thinking with 4D Imagery for Dynamic Spatial Understanding},
  author  = {Chen, Zhangquan and Zhang, Manyuan and Yu, Xinlei and An, Xiang and Li, Bo and Xie, Xin and Wang, ZiDong
             and Sun, Mingze and Chen, Shuang and Li, Hongyu and others},
  journal = {arXiv preprint arXiv:2605.05997},
  year    = {2026}
}"""
_MLLM4D = """@article{yin2026mllm4d,
  title   = {MLLM-4D: Towards Visual-based Spatial-Temporal Intelligence},
  author  = {Yin, Xingyilang and Li, Chengzhengxu and Chang, Jiahao and Pun, Chi-Man and Cun, Xiaodong},
  journal = {arXiv preprint arXiv:2603.00515},
  year    = {2026}
}"""
_SOFTWARE = """@software{{fourdthinker_software,
  title   = {{fourdthinker: 4D latent imagery on transformers, TRL, datasets and lmms-eval}},
  author  = {{{{The fourdthinker contributors}}}},
  version = {{{version}}},
  year    = {{{year}}}
}}"""
MLLM4D = "mllm4d"  # how configurations and rewards of its recipe are known


def cite(version: str | None, uses: Iterable[str] = (), year: int | None = None) -> str:
    """The entries to cite, a blank line between them.

    Args:
        version (`str`, *optional*): Of this package.
        uses (`Iterable[str]`, *optional*): Names of configurations and rewards that were used; those of MLLM-4D's
            recipe add its paper.
        year (`int`, *optional*): Of the software; by default this year.
    """
    software = _SOFTWARE.format(version=version or package_version() or "0", year=year or today()[:4])
    of_mllm4d = any(name.startswith(MLLM4D) or "spatiotemporal" in name for name in uses)
    return "\n\n".join([_FOURDTHINKER, *([_MLLM4D] if of_mllm4d else []), software])
