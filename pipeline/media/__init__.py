"""Reading media files: what they hold, their samples and their frames, all on one clock.

Every time is in seconds from the container's start (that of its earliest stream), for sound and picture alike.
"""

from pipeline.media.files import content_hash, decoder_version, ffmpeg_exe, ffmpeg_version
from pipeline.media.info import MediaInfo, check_complete, probe
from pipeline.media.picture import Frame, frames
from pipeline.media.sound import audio_blocks, decode_audio
