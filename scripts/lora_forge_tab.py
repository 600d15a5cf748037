"""The WebUI runs this at each start and at each Reload UI. All else is in the package, which is imported once."""

from lora_forge import app

app.register()
