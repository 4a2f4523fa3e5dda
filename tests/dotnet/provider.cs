// SPDX-License-Identifier: MIT
//
// The provider of "Programming Memory-Mapped Files with the .NET Framework" (Jun Du, 2010), Simple IPC, for .NET on Linux.
// What was changed is said where it is.

using System;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Threading;

namespace NetMMF_Provider
{
    class Program
    {
        static void Main(string[] args)
        {
            int offset = 0;
            int length = 32;
            byte[] buffer = new byte[length];

            if (args.GetLength(0) != 1)
            {
                Console.WriteLine("Usage: NetMMF_Provider.exe name");
                return;
            }

            // Fill buffer with some data
            for (int i = 0; i < buffer.Length; i++)
                buffer[i] = (byte)('0' + i);

            // Changed: the mutex comes before the map, so that who finds the map waits until it is written. Its name
            // was "MMF_IPC": on Linux that is the session's, and each terminal is a session.
            bool mutexCreated;
            Mutex mutex = new Mutex(true, @"Global\MMF_IPC", out mutexCreated);
            // Changed: an existing mutex is not owned by who opens it.
            if (!mutexCreated)
                mutex.WaitOne();

            // Changed: CreateNew(args[0], ...). .NET has no named maps on Linux; the argument is a path.
            using (var mmf = MemoryMappedFile.CreateFromFile(args[0], FileMode.Create, null, offset + buffer.Length))
            {
                // Create accessor to MMF
                using (var accessor = mmf.CreateViewAccessor(offset, buffer.Length))
                {
                    // Write to MMF
                    accessor.WriteArray<byte>(0, buffer, offset, buffer.Length);
                }

                mutex.ReleaseMutex();

                // Press any key to exit...
                Console.WriteLine("written; press Enter to end"); // Changed: it said nothing
                Console.ReadLine(); // Changed: ReadKey() needs a terminal
            }
            mutex.Close();
        }
    }
}
