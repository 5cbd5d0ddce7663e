# The initrd is a part of every boot: init may not grow unseen.
file(SIZE ${FILE} size)
if(size GREATER LIMIT)
  message(FATAL_ERROR "${FILE}: ${size} bytes, ${LIMIT} are the limit")
endif()
