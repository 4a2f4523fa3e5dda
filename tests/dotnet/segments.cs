// SPDX-License-Identifier: MIT
//
// The class MmFile of "Inter-Process Communication using memory-mapped files" and its two programs, for .NET. On Windows
// with names, as the article has it, if the folder is given as `-`; on Linux with files.
// The article's own code left parts out, and its programs have windows; what was added or changed is said where it is.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Linq;
using System.Text;
using System.Threading;

namespace MmfSample
{
    public sealed class MmFile : IDisposable
    {
        private readonly string _folder; // Changed: where the files are, as .NET has no named maps on Linux; null: names
        private readonly List<int> _segments = new List<int>();
        private MemoryMappedFile _mmf;
        private Mutex _mutex;
        private string _fileName;
        private string _mutexName;

        public MmFile(string folder) { _folder = folder == "-" ? null : folder; }

        public string FileId { get; private set; }

        // Left out in the article.
        private void CreateNames(string fileId)
        {
            FileId = fileId;
            _fileName = Path.Combine(_folder ?? "", "MmFile-" + fileId);
            _mutexName = @"Global\MmFile-mutex-" + fileId; // Changed: on Linux a bare name is the session's
        }

        public void CreateNew(long fileSize)
        {
            if (_folder == null)
            {
                CreateNames(Guid.NewGuid().ToString());
                _mmf = MemoryMappedFile.CreateNew(_fileName, fileSize);
            }
            else
            {
                // Changed: Guid.NewGuid(), which on Linux needs OpenSSL
                using (var random = new BinaryReader(File.OpenRead("/dev/urandom")))
                    CreateNames(new Guid(random.ReadBytes(16)).ToString());
                _mmf = MemoryMappedFile.CreateFromFile(_fileName, FileMode.CreateNew, null, fileSize);
            }
            bool mutexCreated;
            _mutex = new Mutex(false, _mutexName, out mutexCreated);
        }

        public void OpenExisting(string fileId)
        {
            CreateNames(fileId);
            try
            {
                _mmf = _folder == null ? MemoryMappedFile.OpenExisting(_fileName)
                    : MemoryMappedFile.CreateFromFile(_fileName, FileMode.Open);
                _mutex = Mutex.OpenExisting(_mutexName);
            }
            catch (FileNotFoundException ex)
            {
                throw new InvalidOperationException("there is no such file", ex);
            }
        }

        // Changed: the article looks for segments once, and before it has the mutex. Here it is done with each call, and
        // the caller has the mutex: other processes append as well.
        private void InitializeSegments()
        {
            long offset = GetCurrentOffset(_segments.Count);
            using (MemoryMappedViewAccessor view = _mmf.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read))
            {
                while (offset + sizeof(int) <= view.Capacity)
                {
                    int size = view.ReadInt32(offset);
                    if (size == 0)
                        break;
                    _segments.Add(size);
                    offset += sizeof(int) + size;
                }
            }
        }

        private int GetCurrentOffset(int segment)
        {
            return _segments.Take(segment).Sum() + segment * sizeof(int);
        }

        // Changed: the article does not expect that a process dies. Who gets an abandoned mutex owns it, and what the dead
        // one has left behind the last segment must not become the next one.
        private void Lock()
        {
            try
            {
                _mutex.WaitOne();
            }
            catch (AbandonedMutexException)
            {
                InitializeSegments();
                ZeroTail(GetCurrentOffset(_segments.Count));
            }
        }

        private void ZeroTail(long offset)
        {
            byte[] page = new byte[4096], zeros = new byte[4096];
            using (MemoryMappedViewAccessor view = _mmf.CreateViewAccessor())
            {
                for (; offset < view.Capacity; offset += page.Length)
                {
                    int size = view.ReadArray(offset, page, 0, page.Length);
                    if (page.Any(each => each != 0))
                        view.WriteArray(offset, zeros, 0, size);
                }
            }
        }

        public int Append(string data) // Added
        {
            Lock();
            try
            {
                InitializeSegments();
                return WriteOwning(_segments.Count, data);
            }
            finally
            {
                _mutex.ReleaseMutex();
            }
        }

        public void Write(int segment, string data)
        {
            Lock();
            try
            {
                InitializeSegments();
                WriteOwning(segment, data);
            }
            finally
            {
                _mutex.ReleaseMutex();
            }
        }

        private int WriteOwning(int segment, string data)
        {
            if (segment != _segments.Count)
                throw new InvalidOperationException("segments are written in order");
            byte[] byteData = Encoding.Unicode.GetBytes(data);
            int dataSize = byteData.Length;
            int offset = GetCurrentOffset(segment);
            using (MemoryMappedViewStream viewStream = _mmf.CreateViewStream(offset, 0))
            using (BinaryWriter writer = new BinaryWriter(viewStream))
            {
                writer.Write(dataSize);
                writer.Write(byteData);
            }
            _segments.Add(dataSize);
            return segment;
        }

        public string Read(int segment)
        {
            Lock();
            try
            {
                InitializeSegments();
                if (segment >= _segments.Count)
                    throw new InvalidOperationException("there is no such segment");
                using (MemoryMappedViewStream viewStream = _mmf.CreateViewStream(GetCurrentOffset(segment), 0))
                using (BinaryReader reader = new BinaryReader(viewStream))
                {
                    int dataSize = reader.ReadInt32();
                    return Encoding.Unicode.GetString(reader.ReadBytes(dataSize));
                }
            }
            finally
            {
                _mutex.ReleaseMutex();
            }
        }

        public int Count // Added
        {
            get
            {
                Lock();
                InitializeSegments();
                _mutex.ReleaseMutex();
                return _segments.Count;
            }
        }

        // For the tests: as a process leaves it that is killed between the two writes of WriteOwning.
        public void BeginAndStop(int size, string begun)
        {
            Lock();
            InitializeSegments();
            using (MemoryMappedViewStream viewStream = _mmf.CreateViewStream(GetCurrentOffset(_segments.Count), 0))
            using (BinaryWriter writer = new BinaryWriter(viewStream))
            {
                writer.Write(size);
                writer.Write(Encoding.Unicode.GetBytes(begun));
            }
            Console.WriteLine("begun");
            Console.ReadLine();
        }

        public void Dispose()
        {
            _mmf?.Dispose();
            _mutex?.Dispose();
        }
    }

    class Program
    {
        static int Main(string[] args)
        {
            string folder = args[1];
            switch (args[0])
            {
                case "source":
                    return Source(folder, args.Skip(2).ToArray());
                case "destination":
                    Destination(folder, args[2]);
                    return 0;
            }
            using (var file = new MmFile(folder))
            {
                file.OpenExisting(args[2]);
                switch (args[0])
                {
                    case "append": // COUNT WHO
                        for (int i = 0; i < int.Parse(args[3]); i++)
                            file.Append(args[4] + " " + i);
                        break;
                    case "read":
                        int count = file.Count;
                        for (int i = 0; i < count; i++)
                            Console.WriteLine(file.Read(i));
                        break;
                    case "begin":
                        file.BeginAndStop(1000, "begun");
                        break;
                }
            }
            return 0;
        }

        // MmfSource: writes the tasks, runs the other program with the file's id behind its command, shows the result.
        static int Source(string folder, string[] command)
        {
            using (var file = new MmFile(folder))
            {
                file.CreateNew(100000);
                // Changed: the article has XML, of which .NET Core 3.1 needs OpenSSL. A line for each task: id, tab, text.
                file.Write(0, "1\tPrüfen\n2\twrite the report €");
                var start = new ProcessStartInfo(command[0]) { UseShellExecute = false };
                foreach (string argument in command.Skip(1).Append(file.FileId))
                    start.ArgumentList.Add(argument);
                using (Process process = Process.Start(start))
                {
                    process.WaitForExit();
                    if (process.ExitCode != 0)
                        return process.ExitCode;
                }
                foreach (string line in file.Read(1).Split('\n'))
                    Console.WriteLine(line.Replace('\t', ' '));
            }
            return 0;
        }

        // MmfDestination: runs the tasks, and writes the result as segment 1.
        static void Destination(string folder, string fileId)
        {
            using (var file = new MmFile(folder))
            {
                file.OpenExisting(fileId);
                var results = from line in file.Read(0).Split('\n')
                              select line.Split('\t') into task
                              select task[0] + "\tdone: " + task[1];
                file.Write(1, string.Join("\n", results));
            }
        }
    }
}
