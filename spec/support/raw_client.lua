--- A shell that connects over TCP and sends bytes, in the notation of printf, whether
--- these are messages or not. With 'stays' it waits until the other side hangs up.
--- To be closed.
return function(address, bytes, stays)
  return io.popen(("exec bash -c 'exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/%d; " ..
    "printf \"%s\" >&3%s'"):format(address[2], bytes, stays and "; cat <&3 >/dev/null" or ""))
end
