-- GET of a path that hardly ever comes twice.
local host = "Host: " .. (wrk.host or "127.0.0.1") .. "\r\n\r\n"
function request()
  return "GET /person/get/" .. math.random(1, 100000000) .. "/ HTTP/1.1\r\n" .. host
end
