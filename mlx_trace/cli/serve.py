"""`mlx-trace serve`: the model behind an OpenAI-compatible address."""

import argparse
from typing import TYPE_CHECKING, Final, NoReturn

from mlx_trace.cli.chat import open_decoder
from mlx_trace.cli.options import add_decoding_options, add_model_options, add_sampling_options, at_least, sampling_of
from mlx_trace.cli.output import show
from mlx_trace.config_serve import MOST_CHOICES, Address, Limits
from mlx_trace.errors import UserError

if TYPE_CHECKING:
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.serve.inquiry import Served

_LAST_PORT: Final = 65535
_LONGEST_WAIT: Final = 86_400  # seconds


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    address, limits = Address(), Limits()
    add_model_options(parser)
    parser.add_argument("--served-model-name", metavar="NAME",
                        help="what clients call the model; by default its adapter's name, or its own")  # fmt: skip
    parser.add_argument("--host", default=address.host, metavar="H",
                        help="the address to listen at; 0.0.0.0 is every one that this machine has, and there is no "
                             "password (default %(default)s)")  # fmt: skip
    parser.add_argument("--port", type=at_least(0, _LAST_PORT), default=address.port, metavar="P",
                        help="the port to listen at; 0 is any free one (default %(default)s)")  # fmt: skip
    parser.add_argument("--max-sequences", type=at_least(1, 4096), default=limits.max_sequences, metavar="N",
                        help="replies decoded at once (default %(default)s)")  # fmt: skip
    parser.add_argument("--max-queue", type=at_least(0, 1 << 20), default=limits.max_queue, metavar="N",
                        help="replies that may wait beside those; who comes then is told to try again "
                             "(default %(default)s)")  # fmt: skip
    parser.add_argument("--timeout", type=at_least(1, _LONGEST_WAIT), default=int(limits.timeout), metavar="S",
                        help="seconds that a request may take (default %(default)s)")  # fmt: skip
    parser.add_argument("--cors-origin", action="append", default=[], metavar="URL",
                        help="a site whose pages may use the server from a browser, or *; may be repeated")  # fmt: skip
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME",
                        help="a name that requests may call the server by, besides its addresses and localhost, as "
                             "behind a tunnel; others are refused where it listens to this machine alone; may be "
                             "repeated")  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="tell nothing of single requests")
    add_decoding_options(parser)
    add_sampling_options(parser)


def run_serve(options: argparse.Namespace) -> NoReturn:
    params = sampling_of(options)
    if options.samples > MOST_CHOICES:
        raise UserError(f"--samples {options.samples}: a server takes {MOST_CHOICES} at most")
    if options.served_model_name == "":
        raise UserError("--served-model-name: the name is empty")
    from mlx_trace.serve.address import listening

    taken = listening(Address(options.host, options.port))
    from mlx_trace.serve.run import serve

    def load() -> "tuple[Decoder, Served]":
        from mlx_trace.serve.inquiry import Served

        decoder, _ = open_decoder(options, params, options.max_sequences)
        served = Served(_name(options, decoder), options.max_tokens, options.samples, options.temperature, options.seed)
        return decoder, served

    def announce(url: str, served: "Served") -> None:
        show(f"{served.model} at {url}/v1 (Ctrl-C ends)", flush=True)

    limits = Limits(max_sequences=options.max_sequences, max_queue=options.max_queue, timeout=options.timeout)
    serve(load, taken, limits, announce, options.cors_origin, options.quiet, options.allowed_host)


def _name(options: argparse.Namespace, decoder: "Decoder") -> str:
    """Return what clients call the model: never a path of this machine."""
    from pathlib import Path

    if options.served_model_name:
        return str(options.served_model_name)
    if options.adapter_path is not None:
        return str(options.adapter_path.resolve().name)
    return Path(decoder.name).name if Path(decoder.name).exists() else decoder.name
