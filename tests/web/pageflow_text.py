"""Text of somebody who means ill, as in `pageflow`."""

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}"
