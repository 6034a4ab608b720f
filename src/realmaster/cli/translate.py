"""`realmaster translate`: read the options, refuse early what cannot work, translate, report.

Everything that can be refused without a model (names, paths, numbers, an input that is no video) is refused before
torch is loaded, so that a slip costs a second and not a minute.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from realmaster.cli.early import BESIDE_THE_OUTPUT, place_page, refuse_clip, refuse_missing, refuse_profile
from realmaster.cli.problems import recognise
from realmaster.cli.progress import progress_bar
from realmaster.cli.summary import summary, with_other
from realmaster.cli.values import Device, FrameRate, Number, PageName
from realmaster.errors import OutputError, RealMasterError, TruncatedMediaError

if TYPE_CHECKING:
    from realmaster.media.encode import Codec
    from realmaster.pipelines.translate import Translation

CODECS = ("h264", "prores", "prores4444", "lossless", "images")
REPORT_HELP = "Write a page with before and after, timings and alignment; without a name beside the output."


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("input")
@click.option(
    "-o", "--output", required=True, help="Where to write: a video, or with --codec images a folder or pattern."
)
@click.option("-p", "--prompt", default="", help="What to see, above all the weather: 'overcast day, soft light'.")
@click.option("--negative-prompt", help="What not to see. It acts through --guidance-scale.  [default: profile]")
@click.option("--profile", default="nano", show_default=True, help="Which models; `realmaster doctor` lists them.")
@click.option("--model-dir", metavar="FOLDER", help="Where the models are.  [default: REALMASTER_MODEL_DIR, else hub]")
@click.option("--adapter", metavar="FILE", help="In-context adapter (.safetensors) instead of the profile's own.")
@click.option("--reference", type=click.Choice(["cached", "joint"]), help="How the render is read.  [default: profile]")
@click.option("--num-inference-steps", type=click.IntRange(1, 1000), help="Denoising steps.  [default: profile]")
@click.option("--guidance-scale", type=Number(0, 100), help="Weight of the prompt; 1 is off.  [default: profile]")
@click.option("--guidance-scale-2", type=Number(0, 100), help="The same for the low-noise expert.  [default: profile]")
@click.option("--few-step", metavar="FILE", help="Sample in few steps, by this distilled LoRA, without guidance.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True, help="Change a setting of the profile.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--strength", type=Number(0, 1), default=1.0, show_default=True, help="0 keeps the render, 1 the photo.")
@click.option(
    "--protect", metavar="MASK", help="Image or clip whose white stays as rendered, or SEGMENTATION#3,17 by ids."
)
@click.option("--start", type=Number(0), default=0.0, metavar="SECONDS", help="Skip this much of the clip.")
@click.option(
    "--duration", type=Number(0, min_open=True), metavar="SECONDS", help="Translate this much.  [default: all]"
)
@click.option("--fps", type=FrameRate(), metavar="RATE", help="Images a second, of an INPUT of images.  [default: 16]")
@click.option("--codec", type=click.Choice(CODECS), default="h264", show_default=True)
@click.option(
    "--report",
    type=PageName(BESIDE_THE_OUTPUT),
    is_flag=False,
    flag_value=BESIDE_THE_OUTPUT,
    metavar="[PAGE.html]",
    help=REPORT_HELP,
)
@click.option("--overwrite", is_flag=True, help="Replace an output or report that exists.")
@click.option("--device", type=Device(), help="cpu, cuda, cuda:1 or mps.  [default: the fastest there is]")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary; warnings and errors stay.")
def command(
    input: str,
    output: str,
    prompt: str,
    negative_prompt: str | None,
    profile: str,
    model_dir: str | None,
    adapter: str | None,
    reference: Literal["cached", "joint"] | None,
    num_inference_steps: int | None,
    guidance_scale: float | None,
    guidance_scale_2: float | None,
    few_step: str | None,
    changes: tuple[str, ...],
    seed: int,
    strength: float,
    protect: str | None,
    start: float,
    duration: float | None,
    fps: str | None,
    codec: Codec,
    report: str | None,
    overwrite: bool,
    device: str | None,
    quiet: bool,
) -> None:
    """Turn the rendered clip INPUT into a photoreal one.

    INPUT is a video file, a folder of images, or a pattern such as frames/%04d.png. For a name that starts with a dash
    write ./-clip.mp4, or -- before it.
    """
    began = time.perf_counter()
    page = place_page(report, output, codec)
    from realmaster.pipelines.call import check_prompt, sampling_of_call

    check_prompt("--prompt", prompt)
    check_prompt("--negative-prompt", negative_prompt or "")
    mask = refuse_missing(adapter, protect)
    info = refuse_clip(
        input,
        Path(output),
        page,
        start_seconds=start,
        duration_seconds=duration,
        fps=fps,
        codec=codec,
        overwrite=overwrite,
        inputs=(adapter, mask),
    )
    settings = refuse_profile(profile, model_dir=model_dir, words=changes, few_step=few_step)

    from realmaster.models.profiles import load_profile

    asked = num_inference_steps, guidance_scale, guidance_scale_2, negative_prompt
    chosen = load_profile(profile, model_dir=model_dir, changes=settings)
    sampling_of_call(chosen, *asked)

    from realmaster.models.context_parallel import is_first
    from realmaster.models.machine import check_device
    from realmaster.pipelines.translate import Translator
    from realmaster.types import VideoShape

    clip = VideoShape(info.num_frames or chosen.window.num_frames, info.height, info.width)
    if device is not None:
        check_device(device)
    starting = time.perf_counter() - began
    with progress_bar(quiet=quiet) as progress:
        translator = Translator.from_profile(
            profile,
            adapter=adapter,
            reference=reference,
            device=device,
            model_dir=model_dir,
            changes=settings,
            clip=clip,
        )
        translation = translator.translate(
            input,
            output,
            prompt=prompt,
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_scale_2=guidance_scale_2,
            seed=seed,
            strength=strength,
            protect=protect,
            start_seconds=start,
            duration_seconds=duration,
            fps=fps,
            codec=codec,
            overwrite=overwrite,
            progress=progress,
        )
    wall = time.perf_counter() - began
    if not is_first():
        return
    for warning in translation.warnings:
        click.echo(f"realmaster: warning: {warning}", err=True)
    seconds = with_other({"start": starting, **translation.seconds}, wall)
    if page is not None:
        _write_page(page, translation, seconds, overwrite=overwrite)
    if not quiet:
        click.echo(summary(translation, seconds, page, time.perf_counter() - began - wall))
    if translation.truncated is not None:
        raise TruncatedMediaError(
            f"{input} ended early ({translation.truncated}): its {translation.num_frames} frames are in {output}"
        )


def _write_page(page: Path, translation: Translation, seconds: dict[str, float], *, overwrite: bool) -> None:
    """Measure how well the output is aligned with its input, and write the report.

    Raises:
        OutputError: the page cannot be written; the clip stays.
    """
    from realmaster.evaluation.alignment import measure_alignment
    from realmaster.evaluation.page import write_report

    asked = translation.settings
    try:
        alignment = measure_alignment(
            asked["input"],
            translation.output,
            start_seconds=asked["start_seconds"],
            duration_seconds=asked["duration_seconds"],
            image_rate=translation.info.frame_rate if asked["fps"] is not None else None,
        )
        write_report(page, translation, alignment, input_path=asked["input"], seconds=seconds, overwrite=overwrite)
    except (RealMasterError, OSError) as error:
        reason = str(recognise(error)).removesuffix("; nothing was left behind")
        raise OutputError(
            f"the clip is whole in {translation.output}; the report could not be written: {reason}"
        ) from error
