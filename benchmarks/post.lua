-- POST of about 1 KB of JSON: ten fields of 88 characters.
local fields = {}
for number = 0, 9 do
  fields[#fields + 1] = string.format('"field%d":"%s"', number, string.rep("x", 88))
end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = "{" .. table.concat(fields, ",") .. "}"
